"""Is what `loader=auto` picks the best there is? Every fixed setting is run to find out."""
