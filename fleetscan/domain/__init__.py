"""What registry rows mean on Windows: SIPs, trust providers, WinSock2 catalogues, DLL paths, known good."""
