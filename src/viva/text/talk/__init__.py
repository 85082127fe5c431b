"""Conversations: what is said, the template that lays it out, and what of it is learned."""
