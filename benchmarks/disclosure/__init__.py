"""How much an attacker recovers of small counts under each rule of publication."""
