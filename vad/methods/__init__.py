"""What is learned, and what is a score? A method is one file."""
