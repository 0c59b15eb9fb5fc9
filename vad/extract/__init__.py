"""What does a video hold, computed once: objects, crops, features."""
