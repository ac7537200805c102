"""The replicated machine: what each action does to the state, one room a topic; ``block`` is the door."""
