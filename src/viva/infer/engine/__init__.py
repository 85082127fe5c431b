"""Many requests to one model at a time: each begins when it comes and ends when it is done, in a batch that is put
together anew at every step.

Accounting of blocks and the order of work (`blocks.py`, `schedule.py`) know no tensors. `paged.py` keeps keys and
values in blocks and attends over them; `read.py` passes a model over them, on a GPU by what `steady.py` recorded.
`pick.py` takes the next tokens, as `asked.py` and `grammar.py` (`choice.py`, `vocabulary.py`) let it; `draft/` guesses
them, `search.py` searches by beams. `reply.py` is what is told, and `engine.py` the loop around them.
"""
