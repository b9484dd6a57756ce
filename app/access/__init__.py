"""Who may read and write what: tokens, sessions, public and private datasets, links that expire."""
