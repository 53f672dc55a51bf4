"""The pages. Streamlit would list and run the modules of a folder named ``pages``."""
