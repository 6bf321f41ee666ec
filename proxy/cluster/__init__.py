"""State that guards of one keyserver share through Redis. Part of the analyst: no request ever waits for it."""
