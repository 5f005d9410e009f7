"""The nodes: each names its inputs, calls one function of the packages below, and returns."""
