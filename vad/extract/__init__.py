"""What does a video hold, computed once: objects and crops. `vad.extract.launch.extract` fills the cache."""
