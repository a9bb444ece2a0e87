"""Chromium for tests and benchmarks: a small file server, a launcher, and a page with a worker that runs Python."""
