"""The pages. Streamlit would take a folder named ``pages`` for scripts, and list and run them."""
