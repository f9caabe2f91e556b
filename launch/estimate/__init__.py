"""What a run costs before it is booked: where a step's time goes, which layouts fit, what to do about failures."""
