"""Permissions: the exact IAM policy that Tenyson needs, and which of it an account has, asked by dry runs that cost nothing."""

from __future__ import annotations

from typing import Any

LOOKING = (
    "ec2:DescribeInstances", "ec2:DescribeSubnets", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeImages",
    "ec2:DescribeKeyPairs", "ec2:DescribeSecurityGroups", "ec2:DescribeLaunchTemplates", "ec2:DescribeVolumes",
    "ec2:DescribeSpotPriceHistory", "ec2:DescribeRegions", "ec2:GetConsoleOutput", "ssm:GetParameter",
    "pricing:GetProducts", "servicequotas:GetServiceQuota", "sts:GetCallerIdentity",
)  # fmt: skip
LAUNCHING = (
    "ec2:CreateFleet", "ec2:RunInstances", "ec2:CreateLaunchTemplate", "ec2:CreateTags", "ec2:ImportKeyPair",
    "ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress",
)  # fmt: skip
ENDING = (
    "ec2:TerminateInstances", "ec2:DeleteLaunchTemplate", "ec2:DeleteKeyPair", "ec2:DeleteSecurityGroup", "ec2:DeleteVolume",
)  # fmt: skip


def policy(instance_profile: str | None = None, bucket: str | None = None) -> dict[str, Any]:
    """The policy document. Ending is allowed for what carries our tag only.

    Args:
        instance_profile: its role's name, if machines shall have one: it must be passed on.
        bucket: name of the bucket, if one is used: to read it from here.
    """
    statements: list[dict[str, Any]] = [
        {"Sid": "Look", "Effect": "Allow", "Action": list(LOOKING), "Resource": "*"},
        {"Sid": "Launch", "Effect": "Allow", "Action": list(LAUNCHING), "Resource": "*"},
        {
            "Sid": "EndWhatIsOurs",
            "Effect": "Allow",
            "Action": list(ENDING),
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:ResourceTag/tenyson:managed": "1"}},
        },
        {
            "Sid": "FirstUseOfSpotAndFleet",
            "Effect": "Allow",
            "Action": "iam:CreateServiceLinkedRole",
            "Resource": "*",
            "Condition": {
                "StringEquals": {"iam:AWSServiceName": ["spot.amazonaws.com", "ec2fleet.amazonaws.com"]}
            },
        },
    ]
    if instance_profile:
        statements.append(
            {
                "Sid": "PassTheMachinesRole",
                "Effect": "Allow",
                "Action": "iam:PassRole",
                "Resource": f"arn:aws:iam::*:role/{instance_profile}",
                "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
            }
        )
    if bucket:
        statements += bucket_statements(bucket)
    return {"Version": "2012-10-17", "Statement": statements}


def bucket_statements(bucket: str) -> list[dict[str, Any]]:
    """What the machine's role needs for the bucket; what you need to fetch from it, too."""
    name = bucket.removeprefix("s3://").partition("/")[0]
    return [
        {
            "Sid": "ListBucket",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": f"arn:aws:s3:::{name}",
        },
        {
            "Sid": "UseBucket",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            "Resource": f"arn:aws:s3:::{name}/*",
        },
    ]
