"""Numbers that stand for words in records, in one place for their writer and their reader."""

METHODS = ("OTHER", "GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH")
NO_UPSTREAM = 255
FLAG_HTTP_1_0 = 1
SHADOW = 6  # added to an action that a limit in shadow mode would have taken
