"""Reports that a person reads: figures, tables and sentences, one self-contained HTML file each.

``participant`` and ``group`` put the pages together; ``figures_*`` draw (arrays in, bytes out);
``scores``, ``summary`` and ``methods`` find the words; ``page`` fills the templates.
"""
