"""check this environment against known traps and print the remedies

Prints one line for each check: ok, warn (works, but not well), FAIL or info.
The last line says whether this environment can infer, test and train. If it
can do all three, the exit status is 0, else 1. --format json says which check
blocks what. It takes as long as importing MMPose.
"""
import argparse
import json

from .options import add_format


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lgm-pose doctor``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
    """
    add_format(parser, 'text', 'json')


def run(args: argparse.Namespace) -> int:
    """Print what is wrong with this environment, and what helps.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0 if it can infer, test and train, else 1.
    """
    from lgm_pose_plugin.doctor.checks import ALL, diagnose
    from lgm_pose_plugin.doctor.facts import collect_facts
    results = diagnose(collect_facts())
    able = {
        use: not any(use in result.blocks for result in results)
        for use in ALL
    }
    if args.format == 'json':
        checks = [result._asdict() for result in results]
        print(json.dumps(dict(checks=checks, **able), indent=2))
    else:
        for result in results:
            print(f'{result.status:4}  {result.name}: {result.found}')
            if result.remedy:
                print(f'      remedy: {result.remedy}')
        print(', '.join(f'{use}: {"yes" if yes else "no"}'
                        for use, yes in able.items()))
    return 0 if all(able.values()) else 1
