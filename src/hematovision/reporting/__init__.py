"""Reports, model cards and plots. Import each from its module: pages differ in what they need."""
