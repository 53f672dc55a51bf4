"""What people decide about doubtful answers: kept, corrected, exported, learnt from again.

Knows no screen: `store.ReviewStore` is what the page stands on, and another front end could.
"""
