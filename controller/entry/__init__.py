"""A shell in one's own container, for who came by SSH: the only thing that root does at the word of `voxnix serve`.

`caller` is the side of `voxnix serve`, which has no rights: it says whose key sshd has checked, which container is
meant, and hands over its three descriptors. The rest is root's side, one process a session: `request` reads what was
said, `passing` takes the descriptors, `judge` says who may, `places` bounds how many at once, and `relay` carries bytes
between the descriptors and a shell that never gets hold of them. It changes no state, and knows no git.
"""
