"""``hrpro label``: a local web page on which actions are marked by one key each."""
