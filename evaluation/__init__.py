"""Measuring video: did it get better, and where does it go wrong?"""
