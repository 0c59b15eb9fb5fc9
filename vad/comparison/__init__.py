"""Which method is better, and is that luck?"""
