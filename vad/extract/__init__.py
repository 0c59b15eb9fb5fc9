"""What does a video hold, computed once: objects, crops, features. `vad.extract.launch.extract` fills the cache."""
