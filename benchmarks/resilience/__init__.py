"""Measure the policies against pybreaker, purgatory, circuitbreaker, nopanic, tenacity, stamina, asyncio.timeout, opossum and cockatiel."""
