"""Reading items: tables now, pictures later."""
