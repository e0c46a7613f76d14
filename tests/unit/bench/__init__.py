"""What the measurements compute."""
