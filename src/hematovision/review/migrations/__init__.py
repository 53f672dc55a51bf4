"""The migrations of the review database, one step a file; run by `review.database`."""
