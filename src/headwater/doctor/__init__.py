"""The doctor: looks at what the streams stand on, and says what to do."""
