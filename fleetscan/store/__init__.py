"""Where sweeps are kept: content-addressed blocks, trees and the chain of evidence."""
