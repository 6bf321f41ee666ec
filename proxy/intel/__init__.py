"""What is known of addresses from elsewhere: feeds, what follows from them, reputation, reports."""
