package fastsyn
