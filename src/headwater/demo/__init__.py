"""What `headwater demo` shows, and the documents that it shows it on."""
