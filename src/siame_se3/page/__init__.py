"""How does it look while it happens?

world (a simulated plant as a robot), track (one robot under one law), show (what is on the page), view files (the page itself), access (who may see it).
What a person sees and clicks while cameras move belongs here; what moves them does not.
"""
