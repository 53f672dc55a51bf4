"""What people decide about doubtful answers: kept, corrected, exported, learnt from again.

Knows no screen: `service.ReviewService` is what the page stands on, and another front end could.
"""
