"""The demo: a page that uses the tunnel, and the program that starts a network, checks the page once, and serves it."""
