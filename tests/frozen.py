"""Imported last by a process that forks: garbage collections of its children pass over all before.

They would look at each object there, which copies its page: that took longer than most commands.
"""

import gc

gc.collect()
gc.freeze()
