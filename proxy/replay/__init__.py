"""`hkpguard replay`: what the policy would have done with the requests of a log, in virtual time.

readers > lines in the order of time > pace > node (policy, tables, bans) > tally > report
"""
