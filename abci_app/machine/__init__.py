"""The replicated machine: what each action does to the state, one room a topic. ``block.apply_block`` is the door."""
