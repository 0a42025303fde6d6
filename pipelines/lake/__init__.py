"""Sources: listing files, cutting them into units, reading units as documents.

``files`` lists, ``units`` plans, ``read`` reads, ``readings`` holds what was read of pictures.
"""
