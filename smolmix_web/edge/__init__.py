"""The asyncio edge: the engine on an event loop, and what coroutines wait for on top of it.

Nothing that this rests on imports asyncio. Here are the sockets of the stack, the streams of other clients, TLS over
either, and the deadlines of everybody.
"""
