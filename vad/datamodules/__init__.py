"""What is a batch? A batch is one gather per video that it touches, and one copy to the device."""
