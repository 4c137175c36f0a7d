"""What is a picture, and what can be read from its pixels?

decode (files; headers: what they claim), encode, messages (ROS), crop, luma, contrast, blur, gradients.
A file here takes pixels and gives pixels or numbers; it knows no scene and no law.
"""
