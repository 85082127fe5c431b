"""Many requests to one model at a time: each begins when it comes and ends when it is done, in a batch that is put
together anew at every step.

Accounting of blocks and the order of work (`blocks.py`, `schedule.py`) know no tensors; `paged.py` keeps keys and
values in blocks and attends over them; `pick.py` takes the next tokens; `engine.py` is the loop around them.
"""
