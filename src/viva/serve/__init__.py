"""Many users of one model: an engine with a thread of its own, and what stands around it."""
