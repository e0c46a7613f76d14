"""The configuration file: what it may say (`schema`), how it is read (`loading`), and errors with line and column."""
