"""Cookies of one tunnel (RFC 6265bis)."""

from .jar import CookieJar

__all__ = ["CookieJar"]
