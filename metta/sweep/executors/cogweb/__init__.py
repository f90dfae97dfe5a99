"""Tasks through a Cogweb server's queue, under run ids that the server gives out."""
