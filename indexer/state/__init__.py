"""Catalogue state: a snapshot with the journal and the shop's rules applied."""
