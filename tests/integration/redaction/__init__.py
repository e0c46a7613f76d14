"""What is redacted is nowhere in what Headwater writes."""
