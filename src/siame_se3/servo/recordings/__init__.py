"""What does a recording hold, and what would another law have done with it?

file (an MCAP file that is whole at every moment), messages (topics and schemas), sink (encodes and writes, beside the loop), recorder (records
runs), reading and bags (recordings, and bags of ROS, as runs again), replay (laws on recorded views).
"""
