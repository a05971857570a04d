"""The place where a realm's server lives on one machine: how it is had, found and started.

directory              who looks for a server looks here
place  lock  log       what a server has, as long as it serves
launch  daemon         a server is started, and detaches
owned_path  peer       nobody else's: directories, processes
"""
